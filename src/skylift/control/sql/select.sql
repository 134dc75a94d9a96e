SELECT name, spec, generation, status, created_at, wished_at, last_update, facts, tags, progress, served
FROM environments
WHERE %(name)s::text IS NULL OR name = %(name)s
ORDER BY name

INSERT INTO environments (name, spec, status, created_at, wished_at, last_update, tags)
VALUES (%(name)s, %(spec)s, %(status)s, %(at)s, %(at)s, %(last_update)s, %(tags)s)
ON CONFLICT (name) DO NOTHING
RETURNING name

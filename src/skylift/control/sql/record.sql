-- What was learnt for an older request is dropped.
UPDATE environments
SET status = %(status)s, last_update = %(last_update)s, facts = %(facts)s, progress = %(progress)s,
    served = %(served)s::jsonb
WHERE name = %(name)s AND generation = %(generation)s
RETURNING name

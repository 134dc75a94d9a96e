-- The reason stands in the same write that leaves UPDATING: a client that sees ROLLING_BACK must not miss it.
UPDATE environments
SET status = 'ROLLING_BACK', generation = generation + 1, wished_at = %(at)s, spec = %(spec)s, facts = %(facts)s,
    last_update = %(last_update)s
WHERE name = %(name)s AND generation = %(generation)s
RETURNING name

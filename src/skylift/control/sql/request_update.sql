-- A request is a compare-and-set on the generation that its maker has seen. What serves now is kept for the way back.
UPDATE environments
SET status = %(status)s, generation = generation + 1, wished_at = %(at)s, spec = %(spec)s, facts = %(facts)s,
    last_update = %(last_update)s, served = %(served)s::jsonb
WHERE name = %(name)s AND generation = %(generation)s
RETURNING name

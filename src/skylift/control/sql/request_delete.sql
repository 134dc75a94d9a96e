-- A request is a compare-and-set on the generation that its maker has seen.
UPDATE environments
SET status = 'DELETING', generation = generation + 1, wished_at = %(at)s, last_update = %(last_update)s
WHERE name = %(name)s AND generation = %(generation)s
RETURNING name

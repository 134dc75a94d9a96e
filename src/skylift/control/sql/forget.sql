DELETE FROM environments WHERE name = %(name)s AND generation = %(generation)s
RETURNING name

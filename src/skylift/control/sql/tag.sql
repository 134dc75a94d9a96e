UPDATE environments SET tags = (tags || %(add)s) - %(remove)s::text[] WHERE name = %(name)s RETURNING name

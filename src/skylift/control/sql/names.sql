SELECT name FROM environments WHERE name > %(after)s ORDER BY name LIMIT %(most)s

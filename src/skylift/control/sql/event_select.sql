SELECT id, at, status, text, seconds FROM environment_events
WHERE environment = %(environment)s AND id > %(after)s ORDER BY id

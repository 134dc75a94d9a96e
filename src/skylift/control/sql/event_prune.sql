DELETE FROM environment_events WHERE environment = %(environment)s AND id <= (
    SELECT id FROM environment_events WHERE environment = %(environment)s ORDER BY id DESC OFFSET %(most)s LIMIT 1
)

INSERT INTO environment_events (environment, at, status, text, seconds)
VALUES (%(environment)s, %(at)s, %(status)s, %(text)s, %(seconds)s)

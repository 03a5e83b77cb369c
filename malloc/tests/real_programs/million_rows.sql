-- A million rows with two indices: aggregates, a join and deletions with results known in closed form.
PRAGMA journal_mode = WAL;
PRAGMA cache_size = -65536;

CREATE TABLE entry (id INTEGER PRIMARY KEY, section INTEGER, name TEXT);
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000000)
INSERT INTO entry SELECT n, n % 1000, 'entry number ' || n FROM number;
CREATE INDEX entry_section ON entry (section);
CREATE INDEX entry_name ON entry (name);

SELECT count(*), sum(id), sum(length(name)) FROM entry;
SELECT count(*), min(entries), max(entries) FROM (SELECT count(*) AS entries FROM entry GROUP BY section);
SELECT id FROM entry WHERE name = 'entry number 765432';
SELECT length(group_concat(name, ';')) FROM (SELECT name FROM entry WHERE section < 100 ORDER BY name DESC);
SELECT count(*) FROM entry AS a JOIN entry AS b ON b.name = a.name WHERE a.section = b.id;

DELETE FROM entry WHERE section % 2 = 1;
VACUUM;
SELECT count(*), sum(id) FROM entry;
PRAGMA integrity_check;

-- Half a million rows in memory, indexed, joined, sorted and changed.
create table item (id integer primary key, kind integer, name text);
with recursive number(n) as (select 1 union all select n + 1 from number where n < 500000)
insert into item select n, n % 1000, 'item ' || (n * 7919 % 500009) from number;
create index by_name on item (name);
create index by_kind on item (kind);
select count(*), sum(id), sum(length(name)) from item;
select count(*) from item a join item b on a.id = b.kind where a.id < 1000;
update item set name = name || ' changed' where kind < 500;
select max(name), min(name) from (select name from item order by name desc limit 100000);
delete from item where id % 3 = 0;
select count(*), count(distinct kind), group_concat(distinct kind % 10) from item;
pragma integrity_check;

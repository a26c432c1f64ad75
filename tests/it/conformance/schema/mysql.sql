create table departments (
  id int primary key,
  code varchar(50) not null,
  title varchar(200) not null,
  budget decimal(20, 4),
  constraint departments_code_key unique (code)
);
create table employees (
  id bigint auto_increment primary key,
  name varchar(200) not null,
  email varchar(200),
  nick varchar(200),
  department_id int,
  manager_id bigint,
  salary decimal(20, 4),
  big bigint,
  active boolean not null default true,
  born date,
  hired datetime(6),
  token uuid,
  photo blob,
  extra json,
  level enum ('junior', 'senior', 'lead') not null default 'junior',
  secret varchar(200),
  badge varchar(200) not null default 'none',
  pin varchar(200),
  full_title varchar(200),
  constraint employees_email_key unique (email),
  constraint employees_department_fkey foreign key (department_id) references departments (id),
  constraint employees_manager_fkey foreign key (manager_id) references employees (id),
  constraint employees_salary_check check (salary >= 0)
) auto_increment = 100;
create table projects (id int primary key, name varchar(200) not null);
create table employee_projects (
  employee_id bigint not null,
  project_id int not null,
  duty varchar(200),
  primary key (employee_id, project_id),
  constraint links_employee_fkey foreign key (employee_id) references employees (id),
  constraint links_project_fkey foreign key (project_id) references projects (id)
);
create table tasks (
  project_id int not null,
  number int not null,
  title varchar(200) not null,
  done boolean not null default false,
  employee_id bigint,
  primary key (project_id, number),
  constraint tasks_project_fkey foreign key (project_id) references projects (id),
  constraint tasks_employee_fkey foreign key (employee_id) references employees (id)
);
create table profiles (
  id int primary key,
  employee_id bigint not null,
  bio varchar(200),
  constraint profiles_employee_key unique (employee_id),
  constraint profiles_employee_fkey foreign key (employee_id) references employees (id)
);
create table countries (code varchar(50) primary key, name varchar(200) not null, area double);
create table documents (
  id uuid primary key,
  title varchar(200) not null,
  country_code varchar(50),
  constraint documents_country_fkey foreign key (country_code) references countries (code)
);
create table folders (
  id int primary key,
  name varchar(200) not null,
  folder_id int,
  constraint folders_folder_fkey foreign key (folder_id) references folders (id)
);
create table shifts (id smallint primary key, starts time(6), noted datetime, ratio double);
create table lists (id integer primary key);
create table signs (
  id int primary key,
  lit int,
  code uuid,
  level enum ('junior', 'senior', 'lead'),
  address varchar(50),
  phase varchar(50) not null
);
create view staff as select id, name, department_id from employees where active;

insert into departments (id, code, title, budget) values
  (1, 'rd', 'R&D', 1000000.5000),
  (2, 'sales', 'Sales', 250000.2500),
  (3, 'ops', 'Ops "24/7"', null),
  (4, 'empty', '', 0.0001);
insert into employees
  (id, name, email, nick, department_id, manager_id, salary, big, active, born, hired, token, photo, extra, level, secret, badge, pin, full_title)
values
  (1, 'Ada', 'ada@x.io', 'Countess', 1, null, 9000.0000, 9007199254740993, true, '1815-12-10', '2020-01-01 08:00:00', '00000000-0000-4000-8000-000000000001', x'010203', '{"city":"London","age":36,"tags":["math","poet"],"vip":true}', 'lead', 'hidden', 'B1', 'pincode', 'Title 1'),
  (2, 'Bob', 'bob@x.io', '', 1, 1, 5000.1000, 2, true, '1990-05-05', '2021-02-03 10:20:30', '00000000-0000-4000-8000-000000000002', null, '{"city":"Paris","age":30,"vip":false}', 'senior', 'hidden', 'B2', 'pincode', 'Title 2'),
  (3, 'Cy', null, null, 1, 1, 5000.1000, null, false, null, null, null, x'', null, 'junior', 'hidden', 'B3', 'pincode', 'Title 3'),
  (4, 'Dee', 'dee@x.io', 'bob', 2, 1, 3000.0000, -5, true, '2000-02-29', '2021-02-03 10:20:30.5', '00000000-0000-4000-8000-00000000000a', null, '{"city":null,"age":"30","a b":{"c\\"d":1}}', 'senior', 'hidden', 'B4', 'pincode', 'Title 4'),
  (5, 'Eve_', 'eve@x.io', '100%', 2, 4, null, 9007199254740992, false, '1990-05-05', '2022-12-31 23:59:59', null, x'ff00', '[1,2,3]', 'junior', 'hidden', 'B5', 'pincode', 'Title 5'),
  (6, 'Zoë', 'zoe@x.io', 'Ünï', 3, 2, 0.0001, 0, true, '1985-07-01', null, null, null, '{"city":"Zürich"}', 'junior', 'hidden', 'B6', 'pincode', 'Title 6'),
  (7, 'O''Neil', null, 'a\\b', null, 2, 1234567.8901, null, false, null, '2019-06-15 00:00:00', '00000000-0000-4000-8000-000000000007', null, '{"deep":{"er":[{"x":5},{"x":6}]}}', 'junior', 'hidden', 'B7', 'pincode', 'Title 7'),
  (8, '"Quote"', 'q@x.io', concat('tab\tnew\nline', char(1), 'end'), null, null, null, -9223372036854775807 - 1, true, '2024-12-31', null, null, null, '"text"', 'lead', 'hidden', 'B8', 'pincode', 'Title 8');
insert into projects (id, name) values (1, 'Apollo'), (2, 'Gemini'), (3, 'Zeus');
insert into employee_projects (employee_id, project_id, duty) values
  (1, 1, 'lead'), (2, 1, 'dev'), (2, 2, 'dev'), (4, 2, 'lead'), (6, 1, 'qa'), (6, 2, null);
insert into tasks (project_id, number, title, done, employee_id) values
  (1, 1, 'design', true, 1), (1, 2, 'build', false, 2), (1, 3, 'test', false, null), (2, 1, 'plan', true, 4), (2, 2, 'fly', false, 2);
insert into profiles (id, employee_id, bio) values (1, 1, 'First programmer'), (2, 2, '');
insert into countries (code, name, area) values
  ('a,b', 'Comma', 0.5), ('de', 'Germany', 357022), ('fr', 'France', 551695), ('it', 'Italy', 301340), ('x/y', 'Slash', null), ('ü', 'Umlaut', 1e21);
insert into documents (id, title, country_code) values
  ('00000000-0000-4000-8000-000000000010', 'one', 'de'), ('00000000-0000-4000-8000-0000000000a0', 'two', 'de'), ('00000000-0000-4000-8000-0000000000b0', 'three', 'fr'), ('00000000-0000-4000-8000-0000000000ff', 'four', null);
insert into shifts (id, starts, noted, ratio) values
  (1, '08:30:00', '2024-03-10 02:30:00', 0.1), (2, '23:59:59.5', '1999-12-31 23:59:59', -1.5), (3, null, null, null);
insert into folders (id, name, folder_id) values
  (1, 'root', null), (2, 'usr', 1), (3, 'share', 2), (4, 'doc', 3), (5, 'rust', 4), (6, 'html', 5), (7, 'etc', 1),
  (20, 'there', null), (21, 'back', 20), (30, 'itself', null);
update folders set folder_id = 21 where id = 20;
update folders set folder_id = 30 where id = 30;
insert into signs (id, lit, code, level, address, phase) values
  (1, 1, '00000000-0000-4000-8000-0000000000a1', 'lead', '10.0.0.1/32', 'new'),
  (2, 0, '00000000-0000-4000-8000-0000000000b2', 'junior', '10.0.0.2/32', 'gone'),
  (3, null, null, null, null, 'old'),
  (4, 1, '00000000-0000-4000-8000-0000000000d4', 'senior', '192.168.0.0/24', 'lost'),
  (5, 0, '00000000-0000-4000-8000-0000000000e5', 'lead', null, 'new');

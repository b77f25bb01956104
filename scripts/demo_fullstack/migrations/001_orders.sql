CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, what text NOT NULL);

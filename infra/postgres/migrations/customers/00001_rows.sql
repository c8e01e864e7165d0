-- +goose Up
-- How far the model is with each shard, and who works on it: the row is locked meanwhile.
CREATE TABLE checkpoint (shard int PRIMARY KEY, entry bigint NOT NULL, id bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE parked (
	stream text COLLATE "C" PRIMARY KEY, shard int NOT NULL, first_seq bigint NOT NULL, entry bigint NOT NULL, place int NOT NULL,
	reason text NOT NULL, attempts int NOT NULL, since bigint NOT NULL
);
CREATE INDEX parked_shard ON parked (shard);
-- What the rows were made with: a generation of another key is stale.
CREATE TABLE made_with (what text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE customers (
	stream text COLLATE "C" PRIMARY KEY, pseudonym text COLLATE "C" NOT NULL, version bigint NOT NULL, entry bigint NOT NULL,
	recorded_at bigint NOT NULL, shard int NOT NULL, place int NOT NULL, state bytea NOT NULL
) WITH (fillfactor = 60);
ALTER TABLE customers ALTER state SET STORAGE EXTERNAL; -- compressed before it comes here
CREATE UNIQUE INDEX customers_pseudonym ON customers (pseudonym);
CREATE TABLE devices (
	device text COLLATE "C" NOT NULL, stream text COLLATE "C" NOT NULL, pseudonym text COLLATE "C" NOT NULL, type text NOT NULL,
	family text NOT NULL, seq bigint NOT NULL, PRIMARY KEY (device, stream)
);
CREATE INDEX devices_pseudonym ON devices (pseudonym);
CREATE INDEX devices_stream ON devices (stream);
CREATE TABLE licenses (
	license text COLLATE "C" PRIMARY KEY, stream text COLLATE "C" NOT NULL, device text NOT NULL, title text COLLATE "C" NOT NULL, seq bigint NOT NULL
);
CREATE INDEX licenses_title ON licenses (title, stream);
CREATE INDEX licenses_stream ON licenses (stream);
CREATE TABLE exceptions (
	exception text COLLATE "C" PRIMARY KEY, stream text COLLATE "C" NOT NULL, code text NOT NULL, seq bigint NOT NULL
);
CREATE INDEX exceptions_stream ON exceptions (stream);

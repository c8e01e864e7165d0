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
CREATE TABLE policies (
	policy text COLLATE "C" NOT NULL, version int NOT NULL, effective_from bigint NOT NULL, recorded_at bigint NOT NULL, document bytea NOT NULL,
	actor text NOT NULL, role text NOT NULL, entry bigint NOT NULL, shard int NOT NULL, place int NOT NULL,
	PRIMARY KEY (policy, version)
);
CREATE TABLE withdrawals (
	entry bigint NOT NULL, from_ bigint NOT NULL, recorded_at bigint NOT NULL, shard int NOT NULL, place int NOT NULL, title text NOT NULL,
	countries text NOT NULL, -- JSON
	PRIMARY KEY (shard, entry, place)
);

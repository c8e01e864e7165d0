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
-- How far the model is with each stream.
CREATE TABLE streams (
	stream text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, entry bigint NOT NULL, shard int NOT NULL, place int NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE denials (
	stream text COLLATE "C" NOT NULL, seq bigint NOT NULL, recorded_at bigint NOT NULL, entry bigint NOT NULL, shard int NOT NULL, place int NOT NULL,
	used bigint, limit_ bigint, resets_at bigint, season int NOT NULL, episode int NOT NULL,
	actor text NOT NULL, role text NOT NULL, command text NOT NULL, code text COLLATE "C" NOT NULL, rule text NOT NULL,
	scope_kind text NOT NULL, scope_id text NOT NULL, device text COLLATE "C" NOT NULL, device_type text NOT NULL, title text COLLATE "C" NOT NULL,
	title_name text NOT NULL, series text NOT NULL, studio text COLLATE "C" NOT NULL, license text NOT NULL, decision_id text NOT NULL, decision bytea NOT NULL,
	PRIMARY KEY (stream, seq)
);
ALTER TABLE denials ALTER decision SET STORAGE EXTERNAL; -- compressed before it comes here

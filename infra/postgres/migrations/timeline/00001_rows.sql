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
-- A decision's, command's or request's id, hashed to 64 bits, leads to its events.
CREATE TABLE events (
	stream text COLLATE "C" NOT NULL, seq bigint NOT NULL, recorded_at bigint NOT NULL, entry bigint NOT NULL, shard int NOT NULL, place int NOT NULL,
	decision bigint, command bigint, correlation bigint,
	type text COLLATE "C" NOT NULL, actor text COLLATE "C" NOT NULL, role text COLLATE "C" NOT NULL, device text COLLATE "C" NOT NULL,
	title text COLLATE "C" NOT NULL, license text COLLATE "C" NOT NULL, packed bytea NOT NULL,
	PRIMARY KEY (stream, seq)
);
ALTER TABLE events ALTER packed SET STORAGE EXTERNAL; -- compressed before it comes here
CREATE INDEX events_decision ON events (decision) WHERE decision IS NOT NULL;
CREATE INDEX events_command ON events (command) WHERE command IS NOT NULL;
CREATE INDEX events_correlation ON events (correlation) WHERE correlation IS NOT NULL;

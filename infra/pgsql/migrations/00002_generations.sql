-- +goose Up
-- Generations of the read models. Programs of two versions of a model's tables do not see each other's.
CREATE TABLE generations (model TEXT NOT NULL, version INT NOT NULL, generation INT NOT NULL, PRIMARY KEY (model, version, generation));
CREATE TABLE current_generations (model TEXT NOT NULL, version INT NOT NULL, generation INT NOT NULL, PRIMARY KEY (model, version));

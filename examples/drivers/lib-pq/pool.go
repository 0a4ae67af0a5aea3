package main

import (
	"database/sql"
	"time"

	_ "github.com/lib/pq"
)

// openPool needs no more than the name of the service: lib/pq reads the service file for each connection.
func openPool(lifetime time.Duration) (*sql.DB, error) {
	pool, err := sql.Open("postgres", "service=products")
	if err != nil {
		return nil, err
	}
	pool.SetConnMaxLifetime(lifetime)
	return pool, nil
}

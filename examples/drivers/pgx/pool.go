package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// openPool reads the service file again before each connection: pgx reads it only in ParseConfig.
func openPool(ctx context.Context, lifetime time.Duration) (*pgxpool.Pool, error) {
	const address = "service=products"
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConnLifetime = lifetime
	config.BeforeConnect = func(_ context.Context, connection *pgx.ConnConfig) error {
		newest, err := pgx.ParseConfig(address)
		if err == nil {
			*connection = *newest
		}
		return err
	}
	return pgxpool.NewWithConfig(ctx, config)
}

package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Wrong: ParseConfig reads the service file once, also if PGSERVICE names the service, so that each later connection shows the
// first certificate.
func openPool(ctx context.Context, lifetime time.Duration) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig("service=products")
	if err != nil {
		return nil, err
	}
	config.MaxConnLifetime = lifetime
	return pgxpool.NewWithConfig(ctx, config)
}

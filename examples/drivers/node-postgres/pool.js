// node-postgres: a Client that reads the files whenever the pool makes one. Host, port, user and database come from PGHOST,
// PGPORT, PGUSER and PGDATABASE.
import { readFileSync, realpathSync } from 'node:fs'
import pg from 'pg'

export function openPool(files, lifetime) {
  class Client extends pg.Client {
    constructor(config) {
      // One directory, so that the three files are of one rotation.
      const current = realpathSync(`${files}/..data`)
      const read = (name) => readFileSync(`${current}/${name}`)
      super({ ...config, ssl: { ca: read('svid_bundle.pem'), cert: read('svid.pem'), key: read('svid_key.pem') } })
    }
  }
  const pool = new pg.Pool({ Client, maxLifetimeSeconds: lifetime })
  pool.on('error', () => {}) // an idle connection that ends is replaced
  return pool
}

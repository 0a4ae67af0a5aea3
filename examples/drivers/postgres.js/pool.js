// postgres.js: getters, which it reads for each connection. Host, port, user and database come from PGHOST, PGPORT, PGUSER
// and PGDATABASE.
import { readFileSync, realpathSync } from 'node:fs'
import postgres from 'postgres'

export function openPool(files, lifetime) {
  let current
  const read = (name) => readFileSync(`${current}/${name}`)
  return postgres({
    max_lifetime: lifetime,
    ssl: {
      // The first getter chooses the directory, so that the three files are of one rotation.
      get ca() {
        current = realpathSync(`${files}/..data`)
        return read('svid_bundle.pem')
      },
      get cert() { return read('svid.pem') },
      get key() { return read('svid_key.pem') }
    }
  })
}

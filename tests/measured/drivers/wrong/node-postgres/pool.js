// Wrong: reads the files once, so that each later connection shows the first certificate.
import { readFileSync } from 'node:fs'
import pg from 'pg'

export function openPool(files, lifetime) {
  const read = (name) => readFileSync(`${files}/${name}`)
  const ssl = { ca: read('svid_bundle.pem'), cert: read('svid.pem'), key: read('svid_key.pem') }
  const pool = new pg.Pool({ ssl, maxLifetimeSeconds: lifetime })
  pool.on('error', () => {})
  return pool
}

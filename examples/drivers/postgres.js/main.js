// Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed.
import { openPool } from './pool.js'

let stop = false
process.on('SIGTERM', () => { stop = true })
const sql = openPool(process.env.FILES, 0.05)
let queries = 0
let failed = 0

async function work() {
  while (!stop) {
    try {
      await sql`SELECT 1`
      queries++
    } catch (error) {
      failed++
      console.error(`failed: ${error.message}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

await Promise.all([work(), work(), work(), work()])
await sql.end()
console.log(`queries=${queries} failed=${failed}`)
process.exit()

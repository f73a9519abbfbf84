-- needs: clock
-- Renew a worker's lease.
--
-- KEYS  1 P workers
-- ARGV  1 P   2 worker   3 lease ms   4 info as JSON ({}: unchanged)
-- Returns nothing.
-- Stays true: a worker in `workers` has a record with its info. The first write frees memory, so a server that is out
-- of memory still accepts heartbeats; otherwise its living workers would be reaped.

redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[1], now_ms() + ARGV[3], ARGV[2])
note_time()
if ARGV[4] ~= '{}' then redis.call('HSET', ARGV[1] .. 'worker:' .. ARGV[2], 'info', ARGV[4]) end

-- needs: clock, counters
-- Records that a seeder is at work for some time, or that it has ended.
--
-- KEYS  1 J seeders
-- ARGV  1 J   2 epoch   3 seeder   4 for how many ms (0: it has ended)
-- Returns 1, or the error GONE.
-- Stays true: the job is not finished while a seeder is at work. The first write frees memory, so a server that is out
-- of memory still records seeders that wait for room; otherwise their job would pass for finished.

if gone(ARGV[1] .. 'stats', ARGV[2]) then return redis.error_reply('GONE') end
redis.call('ZREM', KEYS[1], ARGV[3])
if tonumber(ARGV[4]) > 0 then
  redis.call('ZADD', KEYS[1], now_ms() + ARGV[4], ARGV[3])
else
  redis.call('HSET', ARGV[1] .. 'stats', 'seeded', 1)
end
return 1

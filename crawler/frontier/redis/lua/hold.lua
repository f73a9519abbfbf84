-- Become, stay or cease to be the only exporter of a job.
--
-- KEYS  1 J exporter
-- ARGV  1 exporter   2 for how many ms (0: give it up)
-- Returns who holds it now; '' for nobody.
-- Stays true: there is one at most. The first write frees memory, so a server without any still lets the exporter
-- work, which is what makes room.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('DEL', KEYS[1])
if tonumber(ARGV[2]) <= 0 then return '' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]

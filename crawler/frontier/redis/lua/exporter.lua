-- Makes a process the only exporter of a job, extends that role, or ends it.
--
-- KEYS  1 J exporter
-- ARGV  1 exporter   2 for how many ms (0: end it)
-- Returns the exporter that the job has now; '' if none.
-- Stays true: a job has one exporter at most. The first write frees memory, so a server that is out of memory still
-- lets the exporter work, which makes room.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('DEL', KEYS[1])
if tonumber(ARGV[2]) <= 0 then return '' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]

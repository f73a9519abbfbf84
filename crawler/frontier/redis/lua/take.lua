-- needs: asking
-- Gives a lease its host to itself, to ask the host for what all its pages need (robots.txt).
--
-- KEYS  1 P asking
-- ARGV  1 P   2 host   3 job   4 worker   5 message
-- Returns 1 if this lease has the host (also when it had it before); 0 if another lease has it, or this one has ended.
-- Stays true: at most one lease has a host to itself. The right ends with the lease, however that ends: it holds while
-- the message lies in the worker's processing list. It has no time limit: the lease's end wakes the jobs that wait.

local P, host, job, worker, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not redis.call('LPOS', P .. 'job:' .. job .. ':processing:' .. worker, message) then return 0 end
local lease = job .. '\n' .. worker .. '\n' .. message
local asker = asker_of(P, host)
if asker then return asker == lease and 1 or 0 end
redis.call('HSET', KEYS[1], host, lease)
redis.call('PEXPIRE', KEYS[1], ASKING_TTL)
return 1

-- needs: asking
-- A lease takes its host for itself, to ask it for what all its pages need (robots.txt).
--
-- KEYS  1 P asking
-- ARGV  1 P   2 host   3 job   4 worker   5 message
-- Returns 1: it has the host, as before when it asks again; 0: another lease has it, or this one has ended.
-- Stays true: one lease of a host has it at most. It ends with the lease, whatever ends that: what counts is that the
-- message lies in the worker's processing list. No clock, so whoever waits for the host is woken by that end.

local P, host, job, worker, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not redis.call('LPOS', P .. 'job:' .. job .. ':processing:' .. worker, message) then return 0 end
local lease = job .. '\n' .. worker .. '\n' .. message
local asker = asker_of(P, host)
if asker then return asker == lease and 1 or 0 end
redis.call('HSET', KEYS[1], host, lease)
redis.call('PEXPIRE', KEYS[1], ASKING_TTL)
return 1

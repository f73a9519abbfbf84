-- needs: clock, number, counters, generations, outbox
-- An exporter tells this server which pages its sinks have: a promoted server may not know that they were read.
--
-- KEYS  1 J outbox
-- ARGV  1 J   2 epoch   3 the last position that a sink has   4 the last one that all sinks have
-- Returns { pages in a sink that this server does not know, so that they come again; pages of this server that may be
-- in a sink already }, or the error GONE.
-- Stays true: all that waits in the outbox and is in no sink is behind the first position; each page in a sink that
-- comes again is counted once, as `twice/pages`. The first write frees memory, so a server that is out of memory still
-- lets the exporter work.
--
-- A position of a generation that this shard never had means that two replicas were promoted, one after the other, of
-- which the second had not heard of the first. Then nobody knows what the sink has of this outbox, so it gets new
-- positions.

local J, position = ARGV[1], ARGV[3]
if gone(J .. 'stats', ARGV[2]) then return redis.error_reply('GONE') end

local function parts(id)
  local generation, number = string.match(id, '^(%d+)-(%d+)$')
  return as_number(generation), as_number(number)
end

local function is_behind(id, other)
  local generation, number = parts(id)
  local its, its_number = parts(other)
  return generation > its or generation == its and number > its_number
end

local clock, its = beside(J, 'clock'), parts(position)
local current = as_number(redis.call('HGET', clock, 'generation'))
if current == 0 then return { 0, 0 } end
redis.call('XDEL', KEYS[1], ARGV[4])
local is_known = its < FIRST_GENERATION or is_known_generation(clock, its)
if its > current then begin_generation(clock, its + 1, 0) end
local generation, last = in_generation(J)

local moved = 0
if not is_known then
  for _, entry in ipairs(redis.call('XRANGE', J .. 'outbox', '-', position)) do
    redis.call('XADD', J .. 'outbox', '*', unpack(entry[2]))
    redis.call('XDEL', J .. 'outbox', entry[1])
    moved = moved + 1
  end
end
if its == as_number(generation) or not is_behind(position, last) then return { 0, moved } end
local _, number = parts(position)
local began, known = parts(last)
local lost = its == began and number - known or its >= FIRST_GENERATION and number or 0
redis.call('SET', J .. 'forked', generation .. ' ' .. position)
count(J .. 'stats', { ['twice/pages'] = lost })
return { lost, moved }

-- needs: number
-- The generations of a shard, in `P clock` (see `generation.lua`).
--
-- Gives  begin_generation(clock, least, more) → a new one, as text: `more` above `least` and all that there were
--        is_known_generation(clock, number) → whether it is the shard's, or was
-- Stays true: generations only grow; the last hundred before the present one are remembered, a space before each.

local function begin_generation(clock, least, more)
  local found = redis.call('HMGET', clock, 'generation', 'before')
  if found[1] then
    redis.call('HSET', clock, 'before', string.sub((found[2] or '') .. ' ' .. found[1], -GENERATIONS_BYTES))
  end
  local generation = string.format('%d', math.max(as_number(found[1]) + 1, least) + more)
  redis.call('HSET', clock, 'generation', generation)
  return generation
end

local function is_known_generation(clock, number)
  local found = redis.call('HMGET', clock, 'generation', 'before')
  local all = (found[2] or '') .. ' ' .. found[1] .. ' '
  return string.find(all, string.format(' %d ', number), 1, true) ~= nil
end

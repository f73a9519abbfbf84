-- needs: message
-- The requests that wait for another try, each with its last error.
--
-- Gives  note_failing(J, message, failure, now) records the error of a try; `failure`: its words
--        fails_no_more(J, message) forgets it when the request ends
-- Stays true: each entry is a request that has not ended; a request at its first delivery has none.

local function note_failing(J, message, failure, now)
  local key, url = J .. 'failing', url_of(message)
  if redis.call('HLEN', key) < FAILING_KEPT or redis.call('HEXISTS', key, url) == 1 then
    redis.call('HSET', key, url, string.format('%d ', now) .. failure)
  end
end

local function fails_no_more(J, message)
  if not string.find(message, '^%[%d+,0,0,') then redis.call('HDEL', J .. 'failing', url_of(message)) end
end

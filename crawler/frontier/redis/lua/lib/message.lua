-- Reads the head of a message, as `message.py` describes it.
--
-- Gives  host_of(url) → the host of a canonical URL; nil if it has none
--        read(message) → version, delivery, attempt, crashes, priority, url, rest of a message of any version; nil
--        for bytes that are not a message
--        url_of(message), host_in(message), spider_of(message) → nil for bytes that are not a message
--        callback_of(message) → its callback with its spider: `shop.parse`
--        pardoned(message) → the same message for its next delivery, without attempts and crashes
--        page_of(message) → url, spider, as they stand between quotation marks
--        redelivered(message, crashed) → the same message after one more delivery, with `crashed` (0 or 1) more crashes
-- Stays true: bytes are a message if `_HEAD` of message.py matches them, including the host.

-- A backslash would begin a JSON escape, which only Python decodes.
local function host_of(url)
  return string.match(url, '^https?://(%[[0-9a-f:.]+%])[:/]') or string.match(url, '^https?://([!$-.0-9;=_`a-~]+)[:/]')
end

-- Whether a count has JSON's spelling.
local function is_count(text)
  return #text == 1 or (string.sub(text, 1, 1) ~= '0' and tonumber(text) < MAX_COUNT)
end

local function is_priority(text)
  return text == '0' or (string.find(text, '^%-?[1-9]%d*$') and math.abs(text) <= MAX_PRIORITY)
end

local function read(message)
  local version, delivery, attempt, crashes, priority, url, rest =
    string.match(message, '^%[(%d+),(%d+),(%d+),(%d+),(%-?%d+),"([^"]*)"(.*)$')
  if url and version ~= '0' and is_count(version) and is_count(delivery) and is_count(attempt) and is_count(crashes)
    and is_priority(priority) and host_of(url) then
    return version, delivery, attempt, crashes, priority, url, rest
  end
end

local function url_of(message)
  local _, _, _, _, _, url = read(message)
  return url
end

local function host_in(message)
  local url = url_of(message)
  return url and host_of(url)
end

local function page_of(message)
  local _, _, _, _, _, url, rest = read(message)
  return url, rest and string.match(rest, '^,%d+,"([^"]*)"')
end

local function spider_of(message)
  local _, spider = page_of(message)
  return spider
end

local function redelivered(message, crashed)
  local version, delivery, attempt, crashes, priority, url, rest = read(message)
  delivery = (delivery + 1) % MAX_COUNT
  local head = string.format('[%s,%d,%s,%d,%s,"', version, delivery, attempt, crashes + crashed, priority)
  return head .. url .. '"' .. rest
end

-- Written by others, a message may name its callback elsewhere in its extras: it then counts as `parse` here.
local function callback_of(message)
  local _, _, _, _, _, _, rest = read(message)
  local spider, named = string.match(rest or '', '^,%d+,"([^"]*)"(.*)$')
  return (spider or '') .. '.' .. (string.match(named or '', '^,{"callback":"([^"]*)"') or 'parse')
end

local function pardoned(message)
  local version, delivery, _, _, priority, url, rest = read(message)
  return string.format('[%s,%d,0,0,%s,"', version, (delivery + 1) % MAX_COUNT, priority) .. url .. '"' .. rest
end

-- What every step on a session begins with.
--
-- KEYS: 1 the session, 2 the ends of its bucket, 3 the intents of its bucket.
-- ARGV: 1 seconds that time was moved by, 2 the id, 3 the prefix of channels; the step's own from 4.
--
-- A session is a hash: v its format, s its state and a its access tokens (JSON, read and written here), g and h what was
-- granted and what the authority outside gave (sealed), c:EPOCH what came too late (sealed), m what tells it from another
-- one of the same id, o, u and i where it is in the indexes of other slots.

local FORMAT = 1

local clock = redis.call('TIME')
-- Seconds, and milliseconds.
local now = tonumber(clock[1]) + tonumber(ARGV[1])
local at = now * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- What is answered: the time first.
local function answer(...)
  return { at, ... }
end

-- The session; or nil and, where this version cannot read it, what to answer.
local function read()
  local fields = redis.call('HMGET', KEYS[1], 'v', 's', 'a')
  if not fields[1] then return nil end
  if tonumber(fields[1]) ~= FORMAT then return nil, redis.error_reply('FORMAT ' .. fields[1]) end
  local good, session, access = pcall(function() return cjson.decode(fields[2]), cjson.decode(fields[3]) end)
  if not good then return nil, redis.error_reply('DAMAGED session') end
  session.access = access
  return session
end

-- From when on nothing can come of it any more.
local function over_at(session)
  if session.revoked then return session.absolute end
  local last
  for _, access in ipairs(session.access) do
    local over = access.expires + (access.grace or 0)
    if not last or over > last then last = over end
  end
  if session.generation == 0 then return math.min(last or session.absolute, session.absolute) end
  if last and last > session.idle_until then return math.min(last, session.absolute) end
  return math.min(session.idle_until, session.absolute)
end

local function is_alive(session)
  return not session.revoked and now < over_at(session)
end

-- Writes a session whose state has changed, and its places in the indexes of its bucket.
local function write(session)
  local access = session.access
  session.access = nil
  -- An empty table would be written as an object.
  local written = '[]'
  if #access > 0 then written = cjson.encode(access) end
  redis.call('HSET', KEYS[1], 's', cjson.encode(session), 'a', written)
  session.access = access
  local over = over_at(session)
  -- A tombstone stands below zero: it is purged in its time, and not counted.
  if session.revoked then over = -over end
  redis.call('ZADD', KEYS[2], over, ARGV[2])
  local vouched = session.vouched
  if vouched and vouched.intent then
    redis.call('ZADD', KEYS[3], vouched.intent.lapses, ARGV[2])
  elseif vouched then
    redis.call('ZREM', KEYS[3], ARGV[2])
  end
end

local function forget_late(session, epochs)
  for _, epoch in ipairs(epochs) do
    redis.call('HDEL', KEYS[1], 'c:' .. epoch)
  end
end

-- Tells other processes. A user that may not do that has done the step all the same, and does not hear itself either.
local function tell(channel)
  redis.pcall('PUBLISH', ARGV[3] .. ':' .. channel, ARGV[2])
end

-- Ends a session that had not ended, and tells; under whom it was counted.
local function revoke(session, reason)
  -- A server at its `maxmemory` refuses what may need more of it, unless the script has begun with what does not.
  redis.call('HDEL', KEYS[1], '')
  session.revoked = { reason = reason, at = now }
  session.access = {}
  if session.vouched then session.vouched.intent = nil end
  local epochs = {}
  for _, late in ipairs(session.late or {}) do epochs[#epochs + 1] = late.epoch end
  forget_late(session, epochs)
  session.late = nil
  write(session)
  tell('ended')
  return redis.call('HGET', KEYS[1], 'o')
end

-- One more access token that is good; what is over makes room first, then the oldest.
local function add_access(session, access, most)
  local kept, same = {}, 0
  for _, known in ipairs(session.access) do
    if now < known.expires + (known.grace or 0) and known.digest ~= access.digest then
      kept[#kept + 1] = known
      if (known.foreign or false) == (access.foreign or false) then same = same + 1 end
    end
  end
  local fits = {}
  for _, known in ipairs(kept) do
    if same >= most and (known.foreign or false) == (access.foreign or false) then
      same = same - 1
    else
      fits[#fits + 1] = known
    end
  end
  access.expires = math.min(access.expires, session.absolute)
  fits[#fits + 1] = access
  session.access = fits
end

-- Moves the end of the refresh token, where a silent renewal does that; one that is over stays so.
local function touch_idle(session, idle)
  if idle ~= '' and session.generation ~= 0 and now < session.idle_until then
    local moved = math.max(session.idle_until, now + tonumber(idle))
    session.idle_until = math.min(moved, session.absolute)
  end
end

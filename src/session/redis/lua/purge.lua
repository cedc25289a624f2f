-- Removes a session that is over, and says where it stood in the indexes of other slots, and since when. ARGV: 4 seconds until one that
-- this version cannot read is looked at again.
local fields = redis.call('HMGET', KEYS[1], 'v', 'o', 'u', 'i')
if not fields[1] then
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('ZREM', KEYS[3], ARGV[2])
  return answer(0)
end
local session, refused = read()
if refused then
  -- Never removed unread: a later version has written it, or somebody should look at it.
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[2])
  return refused
end
if now < over_at(session) then
  write(session)
  return answer(0)
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
return answer(1, session.created, fields[2], fields[3], fields[4])

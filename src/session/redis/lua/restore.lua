-- Keeps a session that comes from another store. ARGV: 4 its mark, 5 state, 6 access tokens, 7 granted, 8 held or nothing,
-- 9 owner, 10 users, 11 client, 12 and 13 state and access tokens as they are expected here, or nothing; then epochs of
-- what came too late, each followed by that.
local there = redis.call('HMGET', KEYS[1], 's', 'a')
if ARGV[12] == '' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return answer('moved') end
elseif there[1] ~= ARGV[12] or there[2] ~= ARGV[13] then
  return answer('moved')
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'v', FORMAT, 'm', ARGV[4], 'g', ARGV[7], 'o', ARGV[9], 'u', ARGV[10], 'i', ARGV[11])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'h', ARGV[8]) end
for at = 14, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'c:' .. ARGV[at], ARGV[at + 1])
end
local session = cjson.decode(ARGV[5])
session.access = cjson.decode(ARGV[6])
write(session)
-- Whoever has it in a cache must look.
if session.revoked then
  tell('ended')
elseif ARGV[12] ~= '' then
  tell('renewed')
end
return answer('kept')

-- Keeps a new session. ARGV: 4 its mark, 5 state, 6 access tokens, 7 granted, 8 held or nothing, 9 owner, 10 users,
-- 11 client; with a code (KEYS: 4) that must be there and not be spent: 12 who spends it.
local mark = redis.call('HGET', KEYS[1], 'm')
if ARGV[12] then
  local code = redis.call('HMGET', KEYS[4], 'v', 'expires', 'spent')
  if not code[1] then return answer('unknown') end
  if tonumber(code[1]) ~= FORMAT then return redis.error_reply('FORMAT ' .. code[1]) end
  if now >= tonumber(code[2]) then return answer('unknown') end
  -- By whoever else; the same step once more, whose first outcome was not known, is the first.
  if code[3] and code[3] ~= ARGV[12] then return answer('before') end
  redis.call('HSET', KEYS[4], 'spent', ARGV[12])
end
if mark == ARGV[4] then return answer('now') end
if redis.call('EXISTS', KEYS[1]) == 1 then return answer('taken') end
redis.call('HSET', KEYS[1], 'v', FORMAT, 'm', ARGV[4], 'g', ARGV[7], 'o', ARGV[9], 'u', ARGV[10], 'i', ARGV[11])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'h', ARGV[8]) end
local session = cjson.decode(ARGV[5])
session.access = cjson.decode(ARGV[6])
write(session)
return answer('now')

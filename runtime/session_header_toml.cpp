#include <fmt/format.h>

#include "profiler/model_identity_toml.h"
#include "profiler/table_toml.h"
#include "runtime/session_header.h"

namespace hearth::runtime {

using profiler::hex_text;
using profiler::quoted;

std::string to_toml(const SessionHeader& header) {
  return profiler::to_toml(header.model) +
         fmt::format(
             "\n[session]\n"
             "position = {}\n"
             "vocabulary = {}\n"
             "keys = {}\n"
             "values = {}\n"
             "kv_tail = {}\n"
             "kv_rotated = {}\n"
             "experts = {}\n"
             "state_bytes = {}\n"
             "random = {}\n",
             header.position, header.vocabulary, quoted(header.key_format),
             quoted(header.value_format), header.kv_tail, header.kv_rotated, header.experts,
             header.state_bytes, hex_text(header.random));
}

SessionHeader parse_session_header(std::string_view text, const std::string& name) {
  constexpr std::uint64_t kMostCount = 0xffffffff, kMostBytes = std::uint64_t{1} << 62;
  const toml::table root = profiler::parse_toml(text, name);
  profiler::TableReader file(root, name);
  SessionHeader header;
  header.model = profiler::read_model_identity(file.table("model"));
  profiler::TableReader table = file.table("session");
  const auto count = [&](std::string_view key, std::uint64_t low) {
    return static_cast<std::uint32_t>(table.count(key, {low, kMostCount}));
  };
  header.position = count("position", 1);
  header.vocabulary = count("vocabulary", 1);
  header.key_format = table.string("keys");
  header.value_format = table.string("values");
  header.kv_tail = count("kv_tail", 0);
  header.kv_rotated = table.boolean("kv_rotated");
  header.experts = count("experts", 0);
  header.state_bytes = table.count("state_bytes", {0, kMostBytes});
  header.random = table.hex("random");
  table.finish();
  file.finish();
  return header;
}

}  // namespace hearth::runtime

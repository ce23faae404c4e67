// JSON as values of templates, and what templates are compared with (tests/golden/jinja).
#pragma once

#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "runtime/jinja/template.h"

namespace hearth::runtime::jinja {

using Json = nlohmann::ordered_json;

inline const std::string kJinjaFolder = HEARTH_SOURCE_DIR "/tests/golden/jinja/";

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file) << path;
  return text.str();
}

inline Value value_of(const Json& json) {
  if (json.is_null()) return Value::none();
  if (json.is_boolean()) return Value::boolean(json.get<bool>());
  if (json.is_number_integer()) return Value::integer(json.get<std::int64_t>());
  if (json.is_number()) return Value::real(json.get<double>());
  if (json.is_string()) return Value::text(Text::given(json.get<std::string>()));
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) items.push_back(value_of(item));
    return Value::list(std::move(items));
  }
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : json.items())
    entries.emplace_back(Value::text(key), value_of(value));
  return Value::mapping(std::move(entries));
}

inline Variables variables_of(const Json& json) {
  Variables variables;
  for (const auto& [name, value] : json.items()) variables.emplace_back(name, value_of(value));
  return variables;
}

inline std::tm golden_time() {  // of make.py
  std::tm time{};
  time.tm_year = 125, time.tm_mon = 6, time.tm_mday = 9;
  time.tm_hour = 8, time.tm_min = 5, time.tm_sec = 3;
  return time;
}

}  // namespace hearth::runtime::jinja

// Chat templates as they are published, against Jinja itself. They have licences of their own, so
// none is here: HEARTH_TEMPLATE_DIR names a folder of <name>.jinja, each with the
// <name>.expected.json that tests/golden/jinja/published.py writes beside it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "tests/runtime/support/json_values.h"

namespace hearth::runtime::jinja {
namespace {

// The text, or null where the template or the conversation is refused.
Json rendered(const std::string& source, const std::string& name, const Json& variables) {
  try {
    return Template(source, name).render_at(golden_time(), variables_of(variables), {}).bytes();
  } catch (const Error& error) {
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos) << error.what();
    return nullptr;
  }
}

TEST(PublishedTemplates, WriteWhatJinjaWrites) {
  const char* folder = std::getenv("HEARTH_TEMPLATE_DIR");
  if (folder == nullptr) GTEST_SKIP() << "HEARTH_TEMPLATE_DIR names no folder of chat templates";
  const Json conversations = Json::parse(read_file(kJinjaFolder + "conversations.json"));
  std::size_t templates = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") continue;
    ++templates;
    const std::string name = entry.path().stem().string(), source = read_file(entry.path());
    const Json expected = Json::parse(
        read_file(std::filesystem::path(entry.path()).replace_extension("expected.json")));
    for (const Json& one : conversations)
      EXPECT_EQ(rendered(source, name, one["variables"]),
                expected.at(one["name"].get<std::string>()))
          << name << ": " << one["name"];
  }
  EXPECT_GT(templates, 0u) << folder << " has no .jinja files";
}

}  // namespace
}  // namespace hearth::runtime::jinja

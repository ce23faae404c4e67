// The page of hearth profile show --html: one file that loads nothing and shows every layer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>

#include "profiler/profile_toml.h"
#include "tests/tools/support/profile_files.h"
#include "tools/hearth/html_page.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

std::string page_of(const Strings& profiles) {
  const std::string path = temporary_path("page.html");
  Strings arguments = {"profile", "show", "--html", path};
  arguments.insert(arguments.end(), profiles.begin(), profiles.end());
  EXPECT_EQ(run_ok(arguments).output, "");
  return read_file(path);
}

// The element #data.
Json data_of(const std::string& page) {
  static constexpr std::string_view kBegin = "id=\"data\">";
  const std::size_t begin = page.find(kBegin) + kBegin.size();
  return Json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

TEST(ProfilePage, HoldsEveryCountOfEveryLayer) {
  const profiler::ExpertProfile profile = profiler::load_profile(recorded_profile("prose"));
  const Json data = data_of(page_of({recorded_profile("prose"), recorded_profile("code")}));
  ASSERT_EQ(data["profiles"].size(), 2u);
  const Json& shown = data["profiles"][0];
  ASSERT_EQ(shown["layers"].size(), profile.layers.size());
  for (std::size_t i = 0; i < profile.layers.size(); ++i) {
    const Json& layer = shown["layers"][i];
    EXPECT_EQ(layer["layer"], profile.layers[i].layer);
    ASSERT_EQ(layer["counts"].size(), profile.layers[i].experts.size());
    for (std::size_t e = 0; e < profile.layers[i].experts.size(); ++e)
      EXPECT_EQ(layer["counts"][e], profile.layers[i].experts[e].count);
  }
  EXPECT_EQ(shown["curves"].size(), profile.curves.size());
  EXPECT_EQ(shown["workloads"][0]["label"], "prose");
}

TEST(ProfilePage, LoadsNothing) {
  std::string page = page_of({recorded_profile("prose")});
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  // The name of a namespace is no address that is visited.
  const std::string kSvg = "\"http://www.w3.org/2000/svg\"";
  const std::size_t at = page.find(kSvg);
  ASSERT_NE(at, std::string::npos);
  page.erase(at, kSvg.size());
  for (const char* part :
       {"http:", "https:", "src=\"", "@import", "url(", "fetch(", "<link rel=\"s"})
    EXPECT_EQ(page.find(part), std::string::npos) << part;
  EXPECT_EQ(page.find("{{"), std::string::npos);
}

// Every element is closed by its own end, in order.
TEST(ProfilePage, IsWellFormed) {
  const std::string page = page_of({recorded_profile("prose")});
  static const std::regex kTag("<(/?)([a-z0-9]+)[^<>]*>");
  std::string markup = page;
  for (const char* name : {"script", "style"}) {  // regular expressions overflow on long ones
    const std::string open = std::string("<") + name, close = std::string("</") + name + ">";
    for (std::size_t at; (at = markup.find(open)) != markup.npos;)
      markup.erase(at, markup.find(close, at) + close.size() - at);
  }
  EXPECT_TRUE(markup.starts_with("<!doctype html>\n"));
  std::vector<std::string> open;
  for (std::sregex_iterator tag(markup.begin(), markup.end(), kTag), end; tag != end; ++tag) {
    const std::string name = (*tag)[2];
    if (name == "meta" || name == "link" || name == "input") continue;
    if ((*tag)[1].length() == 0) {
      open.push_back(name);
    } else {
      ASSERT_FALSE(open.empty()) << name;
      EXPECT_EQ(open.back(), name);
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

TEST(ProfilePage, DataCannotEndItsElement) {
  const std::string page = html_page("profile.html", R"({"name":"</script><b>"})");
  EXPECT_EQ(data_of(page)["name"], "</script><b>");
}

std::string output_of(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string output;
  std::array<char, 4096> piece;
  while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), pipe.get()))
    output.append(piece.data(), count);
  return output;
}

TEST(ProfilePage, ItsScriptsDrawWhatTheProfileHolds) {
  if (std::system("node --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "there is no node";
  page_of({recorded_profile("prose"), recorded_profile("code")});
  const std::string output =
      output_of("node " HEARTH_SOURCE_DIR "/tests/tools/support/visit_profile.js '" +
                temporary_path("page.html") + "' 2>&1");
  ASSERT_TRUE(Json::accept(output)) << output;
  const Json seen = Json::parse(output);
  const Json& plain = seen["plain"];
  EXPECT_EQ(plain["title"], "Experts of tiny-moe");
  EXPECT_THAT(plain["subtitle"].get<std::string>(), HasSubstr("tokens of prose"));
  EXPECT_EQ(plain["cells"], 7 * 32);
  EXPECT_GT(plain["colours"], 16);
  EXPECT_EQ(plain["layers"], 7);
  EXPECT_EQ(plain["curves"][0].size(), 7u + 2);  // coverage: layers, all, and an even one
  EXPECT_EQ(plain["curves"][1].size(), 7u + 1);  // reuse: layers and all
  EXPECT_EQ(plain["curves"][2].size(), plain["policies"].size());
  EXPECT_THAT(plain["policies"].get<Strings>(), ::testing::Contains("belady"));
  for (const Json& chart : plain["curves"])
    for (const std::string path : chart) EXPECT_EQ(path.find("NaN"), path.npos) << path;

  const auto hottest_first = seen["sorted"]["first_row"].get<Strings>();
  EXPECT_NE(hottest_first, plain["first_row"].get<Strings>());
  EXPECT_THAT(seen["chosen"]["text"].get<std::string>(), HasSubstr("Layer 0, expert "));
  EXPECT_THAT(seen["chosen"]["text"].get<std::string>(), HasSubstr("rank 1 of 32"));
  EXPECT_EQ(seen["chosen"]["outlines"], 1 + 4);  // the expert and its partners
  EXPECT_THAT(seen["readout"].get<std::string>(), HasSubstr("all layers "));
  EXPECT_THAT(seen["second"]["subtitle"].get<std::string>(), HasSubstr("tokens of code"));
}

}  // namespace
}  // namespace hearth::tools::testing

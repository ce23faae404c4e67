// The documents name files and tests that exist.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

namespace hearth {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = HEARTH_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What the first group of the pattern matches, everywhere in the text.
std::vector<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

class Documents : public testing::TestWithParam<const char*> {};

TEST_P(Documents, NamePathsThatExist) {
  // `runtime/engine.h`, but neither `runtime/models/<arch>.cpp` nor a folder with a * in it.
  const auto paths = matches(read(kRoot / GetParam()),
                             "`((?:base|io|kernels|profiler|runtime|tools|tests|benchmarks|models)/"
                             "[A-Za-z0-9_./-]*)`");
  EXPECT_FALSE(paths.empty());
  for (const std::string& path : paths) EXPECT_TRUE(fs::exists(kRoot / path)) << path;
}

TEST_P(Documents, LinkToFilesThatExist) {
  const fs::path document = kRoot / GetParam();
  const auto links = matches(read(document), R"(\]\(([A-Za-z0-9_./-]+)\))");
  EXPECT_FALSE(links.empty());
  for (const std::string& link : links)
    EXPECT_TRUE(fs::exists(document.parent_path() / link)) << link;
}

TEST(TestsTable, NamesTestsThatExist) {
  // `io/arena` is tests/io/arena_test.cpp, `fuzz/plan` a target, `api/device` a folder of tests.
  const fs::path folder = kRoot / "tests";
  const auto names = matches(read(folder / "README.md"), "`([a-z]+/[a-z0-9_]+)`");
  EXPECT_GT(names.size(), 100u);
  for (const std::string& name : names) {
    bool found = fs::is_directory(folder / name);
    for (const char* ending : {"_test.cpp", "_fuzz.cpp", ".sh"})
      found = found || fs::exists(folder / (name + ending));
    EXPECT_TRUE(found) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Root, Documents,
                         testing::Values("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"),
                         [](const auto& row) {
                           const std::string name = row.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace hearth

#include "tools/hearth/terminal.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace hearth::tools {
namespace {

constexpr TerminalTraits kPlain{.interactive = false, .colour = false, .unicode = false};
constexpr TerminalTraits kUnicode{.interactive = true, .colour = false, .unicode = true};
constexpr TerminalTraits kColour{.interactive = true, .colour = true, .unicode = true};

TEST(Terminal, AFileIsNotInteractiveAndHasNoColour) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  const TerminalTraits traits = terminal_of(file);
  EXPECT_FALSE(traits.interactive);
  EXPECT_FALSE(traits.colour);
  {
    StatusLine line(file);
    line.show("half way");
  }
  EXPECT_EQ(std::ftell(file), 0);  // nothing was drawn
  std::fclose(file);
}

TEST(Terminal, TheFirstLocaleVariableThatIsSetDecides) {
  const auto unicode = [](const char* all, const char* type, const char* lang) {
    setenv("LC_ALL", all, 1), setenv("LC_CTYPE", type, 1), setenv("LANG", lang, 1);
    return terminal_of(stderr).unicode;
  };
  EXPECT_TRUE(unicode("", "", "en_US.UTF-8"));
  EXPECT_TRUE(unicode("C.utf8", "C", "C"));
  EXPECT_FALSE(unicode("C", "en_US.UTF-8", "en_US.UTF-8"));
  EXPECT_FALSE(unicode("", "", ""));
}

TEST(Terminal, ABarFillsFromTheLeft) {
  EXPECT_EQ(bar(0.0, 4, kPlain), "....");
  EXPECT_EQ(bar(0.5, 4, kPlain), "##..");
  EXPECT_EQ(bar(1.0, 4, kPlain), "####");
  EXPECT_EQ(bar(0.5, 3, kUnicode), "█▌ ");
  EXPECT_EQ(bar(7.0, 2, kUnicode), "██");
  EXPECT_EQ(bar(-1.0, 2, kPlain), "..");
  EXPECT_EQ(bar(0.0 / 0.0, 2, kPlain), "..");
}

TEST(Terminal, AHeatStripHasACellPerValue) {
  const std::vector<double> values = {0, 0.01, 0.5, 1, 2};
  EXPECT_EQ(heat_strip(values, 1.0, 80, kUnicode), " ▁▄██");  // barely warm is visible
  EXPECT_EQ(heat_strip(values, 1.0, 80, kPlain), " .=@@");
  EXPECT_EQ(heat_strip(values, 0.0, 80, kPlain), "     ");
  EXPECT_EQ(heat_strip({}, 1.0, 80, kPlain), "");
}

TEST(Terminal, AHeatStripAveragesWhatDoesNotFit) {
  EXPECT_EQ(heat_strip(std::vector<double>{1, 1, 0, 0}, 1.0, 2, kPlain), "@ ");
  EXPECT_EQ(heat_strip(std::vector<double>{1, 0, 0, 0, 1}, 1.0, 2, kPlain), "=-");  // 1/2, 1/3
}

TEST(Terminal, AHeatStripColoursEachCellAndResets) {
  EXPECT_EQ(heat_strip(std::vector<double>{0, 1}, 1.0, 80, kColour), " \x1b[38;5;196m█\x1b[0m");
}

TEST(Terminal, ColumnsAreCharactersNotBytes) {
  EXPECT_EQ(first_columns("aé€b", 3), "aé€");
  EXPECT_EQ(first_columns("ab", 5), "ab");
  EXPECT_EQ(first_columns("\xff\xff\xff", 2), "\xff\xff");
}

// What `draw` writes into a file.
std::string drawn(const std::function<void(std::FILE*)>& draw) {
  std::FILE* file = std::tmpfile();
  draw(file);
  std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

TEST(Terminal, ProgressIntoAFileIsALineATenth) {
  const std::string text = drawn([](std::FILE* file) {
    Progress progress(file, "writing", Bytes(1000));
    for (int i = 0; i < 100; ++i) progress.advance(Bytes(10));
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10);
  EXPECT_TRUE(text.starts_with("writing 10 % of 1000 B, ")) << text;
}

TEST(Terminal, ProgressOfTokensGoesOnWhereItWas) {
  const std::string text = drawn([](std::FILE* file) {
    Progress progress(file, "recording", 2000, 1000);
    for (int i = 0; i < 10; ++i) progress.advance(100);
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
  EXPECT_TRUE(text.starts_with("recording 60 % of 2,000 tokens, ")) << text;
}

}  // namespace
}  // namespace hearth::tools

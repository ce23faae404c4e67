// Templates against Jinja itself (tests/golden/jinja), and what a hostile one cannot do.
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tests/runtime/support/json_values.h"

namespace hearth::runtime::jinja {
namespace {

std::string rendered(std::string_view source, const Variables& variables = {},
                     const Limits& limits = {}) {
  return Template(source, "test").render_at(golden_time(), variables, limits).bytes();
}

std::string error_of(std::string_view source, const Limits& limits = {}) {
  try {
    return "no error, but: " + rendered(source, {}, limits).substr(0, 100);
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Jinja, WritesAndRefusesWhatJinjaDoes) {
  const Json golden = Json::parse(read_file(kJinjaFolder + "cases.json"));
  ASSERT_GT(golden["cases"].size(), 300u);
  for (const Json& one : golden["cases"]) {
    const std::string source = one.contains("template")
                                   ? one["template"].get<std::string>()
                                   : read_file(kJinjaFolder + one["file"].get<std::string>());
    Json all = golden["variables"][one["with"].get<std::string>()];
    if (one.contains("variables")) all.update(one["variables"]);
    try {
      const std::string text = rendered(source, variables_of(all));
      EXPECT_FALSE(one.contains("refused")) << one << "\ngives: " << text;
      if (one.contains("expected")) {
        EXPECT_EQ(text, one["expected"].get<std::string>()) << one;
      }
    } catch (const Error& error) {
      EXPECT_TRUE(one.contains("refused")) << one << "\n" << error.what();
    }
  }
}

// The bytes of `text` that were given, others as dots.
std::string given_part(const Text& text) {
  std::string part;
  for (std::size_t i = 0; i < text.size(); ++i) part += text.is_given(i) ? text.bytes()[i] : '.';
  return part;
}

TEST(Jinja, WhatWasGivenStaysMarked) {
  const Variables variables = {{"x", Value::text(Text::given(" a,b "))}};
  const auto marks = [&](const char* source) {
    return given_part(Template(source, "test").render(variables));
  };
  EXPECT_EQ(marks("<{{ x }}>"), ". a,b .");
  EXPECT_EQ(marks("{{ '<' + x.strip() ~ '>' }}"), ".a,b.");
  EXPECT_EQ(marks("{{ x.split(',') | join(';') }}"), " a.b ");
  EXPECT_EQ(marks("{{ x.replace(',', '--') | upper }}"), " A..B ");
  EXPECT_EQ(marks("{{ x | tojson }}"), ". a,b .");
  EXPECT_EQ(marks("{% set y %}<{{ x[1:3] }}>{% endset %}{{ y * 2 }}"), ".a,..a,.");
  EXPECT_EQ(marks("{% macro m(v) %}({{ v }}){% endmacro %}{{ m(x) | trim | reverse }}"), ". b,a .");
  EXPECT_EQ(marks("{{ '{:>7}|%s'.format(x) % x }}"), ".. a,b . a,b ");
  EXPECT_EQ(marks("{{ x.partition(',')[1:] | join('<') }}"), ",.b ");
  EXPECT_EQ(marks("{{ '%s|' | format(x) }}{{ [x] }}"), " a,b ... a,b ..");
}

TEST(Jinja, AMistakeNamesItsLine) {
  EXPECT_EQ(error_of("a\n{{ 1 +\n\n }}"),
            "test: line 4: expected a value, found '}}'; give another with --chat-template");
  EXPECT_EQ(error_of("\n\n{{ nope.x }}"), "test: line 3: 'nope' is undefined");
  EXPECT_EQ(error_of("\n{% if 1 %}\n{{ 'a' | nope }}{% endif %}"),
            "test: line 3: there is no filter 'nope'");
  EXPECT_EQ(error_of("\n{{ raise_exception('no\nway') }}"),
            "test: line 2: the template refuses: no\\x0away");
  EXPECT_EQ(error_of("{% for x in [1] %}\n{{ loop([2]) }}{% endfor %}"),
            "test: line 2: the loop is called, but not marked as recursive");
  EXPECT_EQ(error_of("\n{{ '{:d}'.format('a') }}"),
            "test: line 2: a format of type 'd' cannot write a value of type str");
}

TEST(Jinja, AHostileTemplateEndsSoon) {
  const Limits small{.work = 1'000'000, .output_bytes = 1 << 16, .depth = 400};
  const char* const kTooLong =
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
  EXPECT_NE(error_of(kTooLong, small).find("takes too long"), std::string::npos);
  const char* const kDoubling =
      "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}"
      "{% endfor %}";
  EXPECT_NE(error_of(kDoubling, small).find("takes too long"), std::string::npos);
  EXPECT_NE(error_of(kDoubling).find("more than 16777216 bytes"), std::string::npos);
  const char* const kSharing =
      "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}"
      "{% endfor %}{{ n.s }}";
  EXPECT_NE(error_of(kSharing).find("more than 16777216 bytes"), std::string::npos);
  EXPECT_NE(error_of("{{ 'x' * 99999999999 }}").find("more than 16777216 bytes"),
            std::string::npos);
  EXPECT_NE(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("400 deep"),
            std::string::npos);
  EXPECT_NE(error_of("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}").find("400 deep"),
            std::string::npos);
  EXPECT_NE(error_of("{% for i in range(99999) %}{% set x = '%9999999d' % 1 %}{% endfor %}", small)
                .find("takes too long"),
            std::string::npos);
  EXPECT_NE(error_of("{{ '{:99999999}'.format(1) }}").find("width"), std::string::npos);
  EXPECT_NE(error_of("{{ '%.999999f' % 1.5 }}").find("precision"), std::string::npos);
  EXPECT_NE(error_of("{% for i in range(9999) %}{{ 'xxxxxxxxxxxxxxxx' }}{% endfor %}", small)
                .find("writes more than 65536 bytes"),
            std::string::npos);
  EXPECT_NE(error_of("{% set n = namespace() %}{% set n.n = n %}").find("namespace cannot be put"),
            std::string::npos);
}

TEST(Jinja, DeepNestingIsRefusedWhereverItIs) {
  const auto many = [](std::string_view text) {
    std::string all;
    for (int i = 0; i < 50'000; ++i) all += text;
    return all;
  };
  for (const auto& [open, close] :
       {std::pair("(", ")"), std::pair("[", "]"), std::pair("-", ""), std::pair("not ", ""),
        std::pair("{1:", "}"), std::pair("1 if ", ""), std::pair("a[", "]")})
    EXPECT_NE(error_of("{{ " + many(open) + "1" + many(close) + " }}").find("deep"),
              std::string::npos)
        << open;
  for (const char* chain : {"+1", ".a", "|trim", "[0]", "()", "**2", "%2"})
    EXPECT_NE(error_of("{{ a" + many(chain) + " }}").find("deep"), std::string::npos) << chain;
  EXPECT_NE(error_of(many("{% if 1 %}")).find("deep"), std::string::npos);
  // Chains that are evaluated in a row are not deep.
  EXPECT_EQ(rendered("{{ ''" + many("~1").substr(0, 2000) + " }}").size(), 1000u);
}

}  // namespace
}  // namespace hearth::runtime::jinja

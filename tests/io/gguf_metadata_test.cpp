#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/error.h"
#include "io/gguf.h"

namespace hearth::io {
namespace {

constexpr auto kMaxSigned = std::numeric_limits<std::int64_t>::max();

template <typename T>
GgufValue array(std::vector<T> values) {
  return std::make_shared<GgufArray>(GgufArray{std::move(values)});
}

GgufMetadata sample() {
  GgufMetadata metadata("model.gguf");
  metadata.set("unsigned", std::uint64_t{7});
  metadata.set("large", std::numeric_limits<std::uint64_t>::max());
  metadata.set("signed", std::int64_t{7});
  metadata.set("negative", std::int64_t{-7});
  metadata.set("real", 0.5);
  metadata.set("flag", true);
  metadata.set("text", std::string("words"));
  metadata.set("unsigneds", array<std::uint64_t>({3, 4}));
  metadata.set("larges", array<std::uint64_t>({std::uint64_t{kMaxSigned} + 1}));
  metadata.set("signeds", array<std::int64_t>({5, -6}));
  metadata.set("reals", array<double>({0.25, 2}));
  metadata.set("flags", array<bool>({true, false}));
  metadata.set("texts", array<std::string>({"a", "b"}));
  return metadata;
}

void expect_wrong_type(const std::function<void()>& access, const std::string& key) {
  try {
    access();
    ADD_FAILURE() << "accepted " << key;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_NE(std::string(error.what()).find("model.gguf: the key '" + key + "' holds"),
              std::string::npos)
        << error.what();
  }
}

TEST(GgufMetadata, AbsentKeysAreEmpty) {
  const GgufMetadata metadata = sample();
  EXPECT_FALSE(metadata.has("absent"));
  EXPECT_EQ(metadata.find("absent"), nullptr);
  EXPECT_EQ(metadata.unsigned_integer("absent"), std::nullopt);
  EXPECT_EQ(metadata.unsigned_integer("absent", 0), std::nullopt);
  EXPECT_EQ(metadata.real("absent"), std::nullopt);
  EXPECT_EQ(metadata.boolean("absent"), std::nullopt);
  EXPECT_EQ(metadata.string("absent"), std::nullopt);
  EXPECT_EQ(metadata.strings("absent"), nullptr);
  EXPECT_EQ(metadata.reals("absent"), std::nullopt);
  EXPECT_EQ(metadata.integers("absent"), std::nullopt);
}

TEST(GgufMetadata, IntegersOfAnySignWhereTheValueFits) {
  const GgufMetadata metadata = sample();
  EXPECT_EQ(metadata.unsigned_integer("unsigned"), 7u);
  EXPECT_EQ(metadata.unsigned_integer("signed"), 7u);
  EXPECT_EQ(metadata.unsigned_integer("large"), std::numeric_limits<std::uint64_t>::max());
  for (const char* key : {"negative", "real", "flag", "text", "unsigneds"})
    expect_wrong_type([&] { metadata.unsigned_integer(key); }, key);
}

TEST(GgufMetadata, AnElementIsTakenFromAnArrayOrAScalarStandsForAll) {
  const GgufMetadata metadata = sample();
  EXPECT_EQ(metadata.unsigned_integer("unsigneds", 0), 3u);
  EXPECT_EQ(metadata.unsigned_integer("unsigneds", 1), 4u);
  EXPECT_EQ(metadata.unsigned_integer("signeds", 0), 5u);
  EXPECT_EQ(metadata.unsigned_integer("unsigned", 99), 7u);
  expect_wrong_type([&] { metadata.unsigned_integer("unsigneds", 2); }, "unsigneds");
  expect_wrong_type([&] { metadata.unsigned_integer("signeds", 1); }, "signeds");
  for (const char* key : {"negative", "reals", "flags", "texts"})
    expect_wrong_type([&] { metadata.unsigned_integer(key, 0); }, key);
}

TEST(GgufMetadata, Scalars) {
  const GgufMetadata metadata = sample();
  EXPECT_EQ(metadata.real("real"), 0.5);
  EXPECT_EQ(metadata.real("unsigned"), 7.0);
  EXPECT_EQ(metadata.real("negative"), -7.0);
  EXPECT_EQ(metadata.boolean("flag"), true);
  EXPECT_EQ(metadata.string("text"), "words");
  for (const char* key : {"flag", "text", "reals"})
    expect_wrong_type([&] { metadata.real(key); }, key);
  for (const char* key : {"unsigned", "text", "flags"})
    expect_wrong_type([&] { metadata.boolean(key); }, key);
  for (const char* key : {"unsigned", "flag", "texts"})
    expect_wrong_type([&] { metadata.string(key); }, key);
}

TEST(GgufMetadata, Arrays) {
  const GgufMetadata metadata = sample();
  EXPECT_EQ(*metadata.strings("texts"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(metadata.reals("reals"), (std::vector<double>{0.25, 2}));
  EXPECT_EQ(metadata.reals("signeds"), (std::vector<double>{5, -6}));
  EXPECT_EQ(metadata.integers("unsigneds"), (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(metadata.integers("signeds"), (std::vector<std::int64_t>{5, -6}));
  EXPECT_EQ(metadata.integers("flags"), (std::vector<std::int64_t>{1, 0}));
  for (const char* key : {"text", "reals"}) expect_wrong_type([&] { metadata.strings(key); }, key);
  for (const char* key : {"real", "flags", "texts"})
    expect_wrong_type([&] { metadata.reals(key); }, key);
  for (const char* key : {"unsigned", "larges", "reals", "texts"})
    expect_wrong_type([&] { metadata.integers(key); }, key);
}

TEST(GgufMetadata, SetReplacesInPlace) {
  GgufMetadata metadata = sample();
  const std::size_t count = metadata.entries().size();
  metadata.set("unsigned", std::string("now text"));
  EXPECT_EQ(metadata.entries().size(), count);
  EXPECT_EQ(metadata.entries().front().key, "unsigned");
  EXPECT_EQ(metadata.string("unsigned"), "now text");
}

}  // namespace
}  // namespace hearth::io

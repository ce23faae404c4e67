// Merging pairs: against the definition, carried out literally.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <vector>

#include "runtime/tokenizer/merge_table.h"
#include "runtime/tokenizer/pair_merging.h"

namespace hearth::runtime {
namespace {

using Tokens = std::vector<TokenId>;
using Merges = std::map<std::pair<TokenId, TokenId>, Merge>;

Tokens merge(const Tokens& start, const Merges& merges) {
  PairMerging merging;
  merging.start(start.size());
  for (std::size_t i = 0; i < start.size(); ++i)
    merging.append(static_cast<std::uint32_t>(i), start[i]);
  Tokens result;
  std::uint32_t covered = 0;
  merging.run(
      static_cast<std::uint32_t>(start.size()),
      [&](const Pair& pair) -> std::optional<Merge> {
        const auto found = merges.find({pair.left, pair.right});
        if (found == merges.end()) return std::nullopt;
        return found->second;
      },
      [&](TokenId token, std::uint32_t begin, std::uint32_t end) {
        EXPECT_EQ(begin, covered);
        EXPECT_LT(begin, end);
        covered = end;
        result.push_back(token);
      });
  EXPECT_EQ(covered, start.size());
  return result;
}

// Merges the leftmost pair of the smallest rank until there is none.
Tokens merge_literally(Tokens tokens, const Merges& merges) {
  while (true) {
    std::size_t best = tokens.size();
    Merge chosen{};
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = merges.find({tokens[i], tokens[i + 1]});
      if (found == merges.end()) continue;
      if (best == tokens.size() || found->second.rank < chosen.rank) {
        best = i;
        chosen = found->second;
      }
    }
    if (best == tokens.size()) return tokens;
    tokens[best] = chosen.token;
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(PairMerging, NothingAndOneSymbol) {
  EXPECT_EQ(merge({}, {}), Tokens{});
  EXPECT_EQ(merge({7}, {}), Tokens{7});
}

TEST(PairMerging, TheLeftmostOfEqualRanksGoesFirst) {
  const Merges merges = {{{1, 1}, {0, 2}}, {{2, 2}, {1, 3}}};
  EXPECT_EQ(merge({1, 1, 1}, merges), (Tokens{2, 1}));
  EXPECT_EQ(merge({1, 1, 1, 1, 1, 1, 1}, merges), (Tokens{3, 2, 1}));
}

TEST(PairMerging, ALaterMergeMayRankBeforeAnEarlierOne) {
  // 1 1 → 2 ranks 5; 2 1 → 3 ranks 0: as soon as the first 2 exists, it takes its neighbour.
  const Merges merges = {{{1, 1}, {5, 2}}, {{2, 1}, {0, 3}}};
  EXPECT_EQ(merge({1, 1, 1, 1, 1, 1}, merges), (Tokens{3, 3}));
}

TEST(PairMerging, EqualsTheDefinitionOnRandomMerges) {
  EXPECT_TRUE(rc::check([] {
    const auto small = rc::gen::inRange<TokenId>(0, 6);
    Merges merges;
    const auto pairs =
        *rc::gen::container<std::vector<std::pair<TokenId, TokenId>>>(rc::gen::pair(small, small));
    for (const auto& pair : pairs)
      merges.emplace(pair, Merge{*rc::gen::inRange<std::uint32_t>(0, 8), *small});
    // Merges of equal rank that yield different tokens exist in SentencePiece vocabularies.
    const Tokens start = *rc::gen::container<Tokens>(small);
    RC_ASSERT(merge(start, merges) == merge_literally(start, merges));
  }));
}

TEST(MergeTable, FindsWhatWasAddedAndNothingElse) {
  MergeTable table(1000);
  for (TokenId i = 0; i < 1000; ++i) table.add(i, i * 7 % 1000, i + 5000);
  for (TokenId i = 0; i < 1000; ++i) {
    const auto found = table.find(i, i * 7 % 1000);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->rank, static_cast<std::uint32_t>(i));
    EXPECT_EQ(found->token, i + 5000);
    EXPECT_FALSE(table.find(i, (i * 7 + 1) % 1000));
  }
}

TEST(MergeTable, TheFirstOfTwoForOnePairCounts) {
  MergeTable table(2);
  table.add(1, 2, 3);
  table.add(1, 2, 4);
  EXPECT_EQ(table.find(1, 2)->token, 3);
}

}  // namespace
}  // namespace hearth::runtime

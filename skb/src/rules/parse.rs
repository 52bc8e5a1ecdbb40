//! From words to rules, by recursive descent. The grammar stands in the crate's decision page.

use super::ast::*;
use super::error::{Bound, Fault, Position};
use super::token::{Token, tokens};
use super::value::Const;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Terms within terms: the parser recurses, and its stack is bounded.
const NESTING: usize = 32;
/// Literals in a body: evaluation recurses once for each.
const LITERALS: usize = 64;

type Result<T> = core::result::Result<T, (Position, Fault)>;

/// All rules of a text.
pub(super) fn clauses(text: &str) -> Result<Vec<Clause>> {
    let mut parser = Parser::new(text)?;
    let mut clauses = Vec::new();
    while *parser.peek() != Token::End {
        clauses.push(parser.clause()?);
        parser.expect(".", "`.`, which ends a rule,")?;
    }
    Ok(clauses)
}

/// A question: a body, whose variables are the answer's columns, or a rule, whose head's columns are. The columns'
/// names come with it.
pub(super) fn question(text: &str, name: &str) -> Result<(Clause, Vec<String>)> {
    let mut parser = Parser::new(text)?;
    let as_rule = parser.tokens.iter().any(|(token, _)| *token == Token::Sign(":-"));
    let (clause, names) = if as_rule {
        let mut clause = parser.clause()?;
        clause.name = name.into();
        let names = clause.head.iter().enumerate().map(column_name).collect();
        (clause, names)
    } else {
        let at = parser.at();
        let body = parser.body()?;
        let mut names: Vec<String> = Vec::new();
        let mut head = Vec::new();
        each_variable(&body, &mut |at, variable| {
            if let Some(variable) = variable.filter(|v| !names.iter().any(|name| name == v)) {
                names.push(variable.into());
                head.push(HeadTerm::Plain(Term { at, kind: Kind::Variable(variable.into()) }));
            }
        });
        (Clause { at, name: name.into(), head, body }, names)
    };
    if *parser.peek() == Token::Sign(".") {
        parser.next();
    }
    if *parser.peek() != Token::End {
        return parser.fail("`,` or the end of the question");
    }
    Ok((clause, names))
}

fn column_name((number, term): (usize, &HeadTerm)) -> String {
    let name = match term {
        HeadTerm::Plain(Term { kind: Kind::Variable(name), .. }) => Some(name.as_str()),
        HeadTerm::Plain(_) => None,
        HeadTerm::Aggregate(aggregate, _) => Some(match aggregate {
            Aggregate::Count => "count",
            Aggregate::Sum => "sum",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
            Aggregate::ArgMin => "argmin",
            Aggregate::ArgMax => "argmax",
        }),
        HeadTerm::Rank { .. } => Some("rank"),
    };
    name.map_or_else(|| (number + 1).to_string(), String::from)
}

/// Calls `each` with every variable of the literals that can bind one, in the order in which they stand.
fn each_variable<'a>(body: &'a [Literal], each: &mut dyn FnMut(Position, Option<&'a str>)) {
    for literal in body {
        match literal {
            Literal::Atom { negated: true, .. } => {}
            Literal::Atom { atom, .. } => match &atom.columns {
                Columns::Listed(terms) => terms.iter().for_each(|term| term.variables(each)),
                Columns::Named(terms) => terms.iter().for_each(|(_, _, term)| term.variables(each)),
            },
            Literal::Compare { left, right, .. } => [left, right].into_iter().for_each(|t| t.variables(each)),
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Position)>,
    next: usize,
    nested: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Self> {
        Ok(Self { tokens: tokens(text)?, next: 0, nested: 0 })
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> Position {
        self.tokens[self.next.min(self.tokens.len() - 1)].1
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn fail<T>(&self, wanted: &'static str) -> Result<T> {
        Err((self.at(), Fault::Expected { wanted, found: self.peek().to_string() }))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(this) if *this == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name) if name == word);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str, wanted: &'static str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { self.fail(wanted) }
    }

    fn name(&mut self, wanted: &'static str) -> Result<String> {
        match self.peek() {
            Token::Name(name) if name != "not" && name != "mod" => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => self.fail(wanted),
        }
    }

    /// `item, item, …` up to the closing sign, which is taken.
    fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(close) {
                return Ok(items);
            }
            self.expect(",", if close == "}" { "`,` or `}`" } else { "`,` or `)`" })?;
        }
    }

    fn clause(&mut self) -> Result<Clause> {
        let at = self.at();
        let name = self.name("the name of a relation")?;
        let head = if self.take("(") { self.list(")", Self::head_term)? } else { Vec::new() };
        let body = if self.take(":-") { self.body()? } else { Vec::new() };
        Ok(Clause { at, name, head, body })
    }

    fn head_term(&mut self) -> Result<HeadTerm> {
        let start = self.next;
        if let Token::Name(name) = self.peek().clone() {
            self.next += 1;
            if self.take("(") {
                if name == "rank" {
                    return self.rank();
                }
                let arguments = self.list(")", Self::term)?;
                if let Some(aggregate) = Aggregate::named(&name, arguments.len()) {
                    return Ok(HeadTerm::Aggregate(aggregate, arguments));
                }
            }
        }
        self.next = start;
        self.term().map(HeadTerm::Plain)
    }

    /// `L down, N per S, P)`
    fn rank(&mut self) -> Result<HeadTerm> {
        let (mut by, mut per) = (Vec::new(), Vec::new());
        loop {
            let term = self.term()?;
            let down = self.take_word("down");
            if !down {
                self.take_word("up");
            }
            by.push((term, down));
            if self.take_word("per") {
                per = self.list(")", Self::term)?;
                break;
            }
            if self.take(")") {
                break;
            }
            self.expect(",", "`up`, `down`, `,`, `per` or `)`")?;
        }
        Ok(HeadTerm::Rank { by, per })
    }

    fn body(&mut self) -> Result<Vec<Literal>> {
        let mut body = Vec::new();
        loop {
            if body.len() == LITERALS {
                return Err((self.at(), Fault::Limit { what: Bound::Literals, limit: LITERALS }));
            }
            body.push(self.literal()?);
            if !self.take(",") {
                return Ok(body);
            }
        }
    }

    fn literal(&mut self) -> Result<Literal> {
        if self.take_word("not") {
            return Ok(Literal::Atom { atom: self.atom()?, negated: true });
        }
        let sign_after = self.tokens.get(self.next + 1).map(|(token, _)| token);
        let compares = matches!(sign_after, Some(Token::Sign("=" | "!=" | "<" | "<=" | ">" | ">=")));
        if matches!(self.peek(), Token::Name(_)) && !compares {
            return Ok(Literal::Atom { atom: self.atom()?, negated: false });
        }
        let at = self.at();
        let left = self.term()?;
        let cmp = match self.peek() {
            Token::Sign("=") => Cmp::Equal,
            Token::Sign("!=") => Cmp::Unequal,
            Token::Sign("<") => Cmp::Less,
            Token::Sign("<=") => Cmp::LessEqual,
            Token::Sign(">") => Cmp::Greater,
            Token::Sign(">=") => Cmp::GreaterEqual,
            _ => return self.fail("a comparison: `=`, `!=`, `<`, `<=`, `>` or `>=`,"),
        };
        self.next += 1;
        Ok(Literal::Compare { at, left, cmp, right: self.term()? })
    }

    fn atom(&mut self) -> Result<Atom> {
        let at = self.at();
        let name = self.name("the name of a relation, `not` or a comparison")?;
        let columns = if self.take("{") {
            Columns::Named(self.list("}", |parser| {
                let at = parser.at();
                let column = parser.name("the name of a column")?;
                parser.expect(":", "`:` after the name of a column")?;
                Ok((at, column, parser.term()?))
            })?)
        } else if self.take("(") {
            Columns::Listed(self.list(")", Self::term)?)
        } else {
            Columns::Listed(Vec::new())
        };
        Ok(Atom { at, name, columns })
    }

    fn term(&mut self) -> Result<Term> {
        self.nested += 1;
        if self.nested > NESTING {
            return Err((self.at(), Fault::Limit { what: Bound::Nesting, limit: NESTING }));
        }
        let mut left = self.product()?;
        loop {
            let function = match self.peek() {
                Token::Sign("+") => Function::Add,
                Token::Sign("-") => Function::Subtract,
                _ => break,
            };
            left = self.apply(function, left, Self::product)?;
        }
        self.nested -= 1;
        Ok(left)
    }

    fn product(&mut self) -> Result<Term> {
        let mut left = self.factor()?;
        loop {
            let function = match self.peek() {
                Token::Sign("*") => Function::Multiply,
                Token::Sign("/") => Function::Divide,
                Token::Name(name) if name == "mod" => Function::Modulo,
                _ => return Ok(left),
            };
            left = self.apply(function, left, Self::factor)?;
        }
    }

    /// Chains are terms within terms too: what reads them recurses.
    fn apply(
        &mut self,
        function: Function,
        left: Term,
        right: fn(&mut Self) -> Result<Term>,
    ) -> Result<Term> {
        let at = self.at();
        if depth(&left) >= NESTING {
            return Err((at, Fault::Limit { what: Bound::Nesting, limit: NESTING }));
        }
        self.next += 1;
        let right = right(self)?;
        Ok(Term { at, kind: Kind::Apply(function, [left, right].into()) })
    }

    fn factor(&mut self) -> Result<Term> {
        let at = self.at();
        let kind = match self.peek().clone() {
            Token::Int(number) => Kind::Const(Const::Int(number)),
            Token::Core(core) => Kind::Const(Const::Core(core)),
            Token::Text(text) => Kind::Const(Const::Text(text.into())),
            Token::Variable(name) => Kind::Variable(name),
            Token::Any => Kind::Any,
            Token::Sign("(") => {
                self.next += 1;
                let term = self.term()?;
                self.expect(")", "`)`")?;
                return Ok(term);
            }
            Token::Sign("-") => {
                self.next += 1;
                let zero = Term { at, kind: Kind::Const(Const::Int(0)) };
                return Ok(match self.nested_factor()? {
                    Term { kind: Kind::Const(Const::Int(number)), .. } => {
                        Term { at, kind: Kind::Const(Const::Int(-number)) }
                    }
                    term => Term { at, kind: Kind::Apply(Function::Subtract, [zero, term].into()) },
                });
            }
            Token::Name(_) => return self.symbol_or_call(),
            _ => return self.fail("a term: a variable, a number, a core, a symbol or a string,"),
        };
        self.next += 1;
        Ok(Term { at, kind })
    }

    /// What a minus sign stands before.
    fn nested_factor(&mut self) -> Result<Term> {
        self.nested += 1;
        if self.nested > NESTING {
            return Err((self.at(), Fault::Limit { what: Bound::Nesting, limit: NESTING }));
        }
        let term = self.factor();
        self.nested -= 1;
        term
    }

    fn symbol_or_call(&mut self) -> Result<Term> {
        let at = self.at();
        let name = self.name("a term")?;
        if !self.is("(") {
            return Ok(Term { at, kind: Kind::Const(Const::Text(name.into())) });
        }
        let wanted = "one of the functions `min(A, B)`, `max(A, B)`, `abs(A)`, `core(ISLAND, LOCAL)`, \
                      `island(CORE)` and `local(CORE)` (aggregates stand alone, in a head)";
        let unknown = Fault::Expected { wanted, found: alloc::format!("`{name}(…)`") };
        self.next += 1;
        let arguments = self.list(")", Self::term)?;
        match Function::named(&name) {
            Some((function, count)) if count == arguments.len() => {
                Ok(Term { at, kind: Kind::Apply(function, arguments) })
            }
            _ => Err((at, unknown)),
        }
    }
}

fn depth(term: &Term) -> usize {
    match &term.kind {
        Kind::Apply(_, terms) => 1 + terms.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

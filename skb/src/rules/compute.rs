//! What expressions come to.

use super::ast::Function;
use super::error::Fault;
use super::lower::Expr;
use super::value::{Datum, Value, Values};
use crate::{CoreId, IslandId};
use alloc::string::ToString;

/// The value of an expression whose variables are bound.
pub(super) fn datum<'v>(expr: &Expr, registers: &[Value], values: &'v Values) -> Result<Datum<'v>, Fault> {
    match expr {
        Expr::Const(value) => Ok(values.get(*value)),
        Expr::Variable(variable) => Ok(values.get(registers[usize::from(*variable)])),
        Expr::Apply(function, terms) => apply(*function, terms, registers, values),
    }
}

/// What a function comes to; never a text.
pub(super) fn apply(
    function: Function,
    terms: &[Expr],
    registers: &[Value],
    values: &Values,
) -> Result<Datum<'static>, Fault> {
    let argument =
        |number: usize| terms.get(number).map_or(Ok(Datum::Int(0)), |t| datum(t, registers, values));
    if let Function::Island | Function::Local = function {
        let Datum::Core(core) = argument(0)? else { return Err(kind("core", argument(0)?)) };
        let part = if function == Function::Island { core.island().0 } else { core.local() };
        return Ok(Datum::Int(part.into()));
    }
    let number = |number: usize| match argument(number)? {
        Datum::Int(number) => Ok(number),
        other => Err(kind("number", other)),
    };
    let (a, b) = (number(0)?, number(1)?);
    let result = match function {
        Function::Add => a.checked_add(b),
        Function::Subtract => a.checked_sub(b),
        Function::Multiply => a.checked_mul(b),
        Function::Divide | Function::Modulo if b == 0 => return Err(Fault::DivisionByZero),
        Function::Divide => a.checked_div_euclid(b),
        Function::Modulo => a.checked_rem_euclid(b),
        Function::Min => Some(a.min(b)),
        Function::Max => Some(a.max(b)),
        Function::Abs => a.checked_abs(),
        Function::Core => {
            let part =
                |part: i128| u16::try_from(part).map_err(|_| kind("part of a core's name", Datum::Int(part)));
            return Ok(Datum::Core(CoreId::new(IslandId(part(a)?), part(b)?)));
        }
        Function::Island | Function::Local => None,
    };
    result.map(Datum::Int).ok_or(Fault::Overflow)
}

/// That a value is not what it should be.
pub(super) fn kind(wanted: &'static str, found: Datum<'_>) -> Fault {
    Fault::Kind { wanted, found: found.to_string() }
}
